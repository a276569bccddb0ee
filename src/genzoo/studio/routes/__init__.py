"""Routes of the studio, one file for each theme: each has `router`, an `APIRouter`, whose paths begin with /api/. They are found by file."""
