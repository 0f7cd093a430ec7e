"""Parts that several world models share."""
