"""The only place that imports an SDK: Azure's, cryptography's, PyJWT's."""
