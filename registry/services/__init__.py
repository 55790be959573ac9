"""What changes the tables, and the pure rules about them."""
