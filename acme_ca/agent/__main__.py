"""`acme-workload` and `python -m acme_ca.agent`."""

from acme_ca.agent.commands import cli


def main() -> None:
    """Run the command line; exits with 0, 1 (refused, or something was away) or 2 (wrong usage)."""
    cli(prog_name="acme-workload")


if __name__ == "__main__":
    main()
