"""One trained system as a server for other programs: `genzoo serve RUN`. Endpoints come from what the system can do."""
