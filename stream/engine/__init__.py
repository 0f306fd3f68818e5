"""When an offset may be committed, and what watches it. Nothing here knows Faust."""
