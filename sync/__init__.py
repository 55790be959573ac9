"""What we do about it: map, push, confirm, clean up, relay. Owns no table."""
