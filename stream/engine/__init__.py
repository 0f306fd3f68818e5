"""What we replace of Faust: when an offset may be committed."""
