"""Results as files: folders of pictures and arrays, HTML reports, TensorBoard."""
