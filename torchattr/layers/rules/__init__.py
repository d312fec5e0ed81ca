"""The rules that ship with the package; importing this package registers them."""
