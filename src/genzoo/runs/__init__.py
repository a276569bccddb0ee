"""Run folders: settings, logs, cards."""
