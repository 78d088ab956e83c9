"""The knowledge API's routes: known, so that keys, methods and paths are told as Dify tells them; not served yet.

A knowledge key is refused by the app API and an app key here, both with the same 401.
"""

from mockdify.context import Context, Endpoint
from mockdify.errors import DifyError
from mockdify.steps import Reply

__all__ = ["ROUTES", "not_served"]


def not_served(path: str) -> DifyError:
    """What a knowledge key hears."""
    return DifyError(501, "not_implemented", f"mockdify does not serve the knowledge API yet: {path}")


def _refuse(ctx: Context) -> Reply:
    raise not_served(ctx.request.path)


_ROUTES = """
POST,GET /datasets
GET,PATCH,DELETE /datasets/<uuid:dataset_id>
POST /datasets/<uuid:dataset_id>/document/create-by-text
POST /datasets/<uuid:dataset_id>/document/create-by-file
GET /datasets/<uuid:dataset_id>/documents
GET,DELETE,PATCH /datasets/<uuid:dataset_id>/documents/<uuid:document_id>
GET /datasets/<uuid:dataset_id>/documents/<uuid:document_id>/download
GET /datasets/<uuid:dataset_id>/documents/<string:batch>/indexing-status
POST /datasets/<uuid:dataset_id>/documents/<uuid:document_id>/update-by-text
POST /datasets/<uuid:dataset_id>/documents/<uuid:document_id>/update-by-file
POST /datasets/<uuid:dataset_id>/documents/download-zip
PATCH /datasets/<uuid:dataset_id>/documents/status/<string:action>
POST,GET /datasets/<uuid:dataset_id>/documents/<uuid:document_id>/segments
GET,POST,DELETE /datasets/<uuid:dataset_id>/documents/<uuid:document_id>/segments/<uuid:segment_id>
POST,GET /datasets/<uuid:dataset_id>/documents/<uuid:document_id>/segments/<uuid:segment_id>/child_chunks
PATCH,DELETE /datasets/<uuid:dataset_id>/documents/<uuid:document_id>/segments/<uuid:segment_id>/child_chunks/<uuid:child_chunk_id>
POST /datasets/<uuid:dataset_id>/retrieve
POST,GET,PATCH,DELETE /datasets/tags
POST /datasets/tags/binding
POST /datasets/tags/unbinding
GET /datasets/<uuid:dataset_id>/tags
POST,GET /datasets/<uuid:dataset_id>/metadata
PATCH,DELETE /datasets/<uuid:dataset_id>/metadata/<uuid:metadata_id>
GET /datasets/<uuid:dataset_id>/metadata/built-in
POST /datasets/<uuid:dataset_id>/metadata/built-in/<string:action>
POST /datasets/<uuid:dataset_id>/documents/metadata
GET /workspaces/current/models/model-types/<string:model_type>
POST /datasets/pipeline/file-upload
GET /datasets/<uuid:dataset_id>/pipeline/datasource-plugins
POST /datasets/<uuid:dataset_id>/pipeline/datasource/nodes/<string:node_id>/run
POST /datasets/<uuid:dataset_id>/pipeline/run
"""  # noqa: E501 - one path a line

ROUTES = tuple(
    Endpoint(method=method, rule=f"/v1{rule}", handler=_refuse, key="dataset")
    for methods, rule in (line.split() for line in _ROUTES.strip().splitlines())
    for method in methods.split(",")
)
