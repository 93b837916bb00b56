"""The errors that the command reports in one line."""


class UserError(Exception):
    """Something that the user of the command can do something about."""


def missing(package: str, use: str) -> UserError:
    return UserError(f"{use} needs the package {package}: pip install 'chainrule[demo]'")
