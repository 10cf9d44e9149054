//! `.dockerignore` files and their patterns, matched as Docker does. Pure: never opens a file.
