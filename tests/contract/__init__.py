"""What every public loss keeps, run over the family table."""
