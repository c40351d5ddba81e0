"""What several tests use: twins, inputs, a file server, hostile methods."""
