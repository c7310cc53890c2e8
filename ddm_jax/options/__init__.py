"""The sections of a config that are plain settings."""
