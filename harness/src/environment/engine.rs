//! What runs containers: the Docker engine that is there, or a private one in namespaces of its own.
