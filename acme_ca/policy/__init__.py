"""Who may have which certificates: the rules and the engine that applies them. Pure: no database, no HTTP."""
