"""wandb: curves and results of a run, and a workspace that compares the rows of a table."""


def logged_in() -> bool:
    """Return whether an API key is set, in the environment or by `wandb login`, without contacting the server."""
    import wandb
    from wandb.sdk.lib import wbauth

    host = wandb.setup().settings.base_url
    return wbauth.authenticate_session(host=host, source="ocnet", prompt=False, update_session=False) is not None
