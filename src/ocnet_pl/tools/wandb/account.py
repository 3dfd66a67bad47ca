"""Whether wandb knows who you are. Asks nobody: neither the terminal nor the server."""


def logged_in() -> bool:
    """True when there is an API key, in the environment or where `wandb login` left it."""
    import wandb
    from wandb.sdk.lib import wbauth

    host = wandb.setup().settings.base_url
    return wbauth.authenticate_session(host=host, source="ocnet", prompt=False, update_session=False) is not None
