"""Detection by many machines: pictures in object storage, Ray Data's actors, results in parts."""
