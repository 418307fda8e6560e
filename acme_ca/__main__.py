"""`acme-ca` and `python -m acme_ca`."""

from acme_ca.cli import cli


def main() -> None:
    """Run the command line; exits with 0, 1 (refused) or 2 (wrong usage)."""
    cli(prog_name="acme-ca")


if __name__ == "__main__":
    main()
