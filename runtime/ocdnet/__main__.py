"""`python -m ocdnet`: the same as `ocdnet`."""

from ocdnet.cli.main import main

if __name__ == "__main__":
    main()
