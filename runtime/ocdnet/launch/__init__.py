"""A planned job on a platform: this machine, docker, NVIDIA's image, slurm or kubernetes."""
