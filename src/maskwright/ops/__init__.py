"""Kernels that know tensors and nothing of images."""
