"""Other ways of sending the bench's letter, each a process of its own that measures its own CPU, and our sending path beside them."""
