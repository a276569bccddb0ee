"""What a server of genzoo is made of, whatever it serves: who may ask, jobs with a queue, loaded models, pictures, errors in words."""
