"""Two branches of two calls each, a crash between them, and who gets whose result."""
