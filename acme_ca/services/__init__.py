"""What the CA does: one module for each kind of act; each owns its transactions."""
