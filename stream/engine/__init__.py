"""When an offset may be committed, how records leave, and what watches both. Nothing here knows Faust."""
