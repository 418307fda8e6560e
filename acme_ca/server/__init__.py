"""`acme-ca serve`: a supervisor, the listeners on gunicorn, the worker; each child process has one role."""
