"""`python -m ptir` is the `ptir` command."""

from ptir.cli import main

if __name__ == "__main__":
    main()
