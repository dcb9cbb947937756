"""Where each array of another library's file belongs: one file a library."""
