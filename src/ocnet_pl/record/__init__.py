"""Files of runs and sweeps on disk: their content, and how they are written and read. Without torch.

Files are written atomically. Reading one that is damaged, unreadable or of another kind raises `errors.UserError`.
"""
