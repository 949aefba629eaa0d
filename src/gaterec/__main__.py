"""`python -m gaterec` is the command line."""

from gaterec.cli.app import main

if __name__ == "__main__":
    main()
