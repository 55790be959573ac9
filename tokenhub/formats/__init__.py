"""How times are written: as ISO 8601 has them, which no two countries read differently. All are UTC."""
