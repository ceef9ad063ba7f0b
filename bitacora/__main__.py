"""`python -m bitacora` is `bitacora`."""

from bitacora.cli import main

if __name__ == "__main__":
    main()
