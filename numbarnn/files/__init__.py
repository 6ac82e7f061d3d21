"""What is kept in files: descriptions as text, arrays beside them, written whole or not at all."""
