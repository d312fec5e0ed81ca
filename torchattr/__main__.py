"""`python -m torchattr` is the command `torchattr`."""

from torchattr.cli import main

if __name__ == "__main__":
    main()
