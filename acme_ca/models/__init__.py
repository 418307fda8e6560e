"""What the CA remembers: one module for each thing, its table and its status transitions."""
