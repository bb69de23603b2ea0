"""Data sets cut into parts, one decoder for all images, joint transforms, batches."""
