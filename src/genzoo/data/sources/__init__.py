"""Where data come from: named sets, folders and archives, arrays, tables, captions, pairs."""
