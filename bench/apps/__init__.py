"""Small applications to measure beside tokenhub."""
