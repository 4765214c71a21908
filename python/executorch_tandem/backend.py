"""Lowers a delegated region to Tandem's Program."""

import logging
from typing import final

from executorch.exir._serialize._named_data_store import NamedDataStore
from executorch.exir.backend.backend_details import BackendDetails, PreprocessResult
from executorch.exir.backend.compile_spec_schema import CompileSpec
from executorch.exir.backend.utils import DelegateMappingBuilder
from torch.export import ExportedProgram

from .builder import Builder
from .lower import lower
from .schema.blob import read_program

ALIGNMENT = 64

logger = logging.getLogger(__name__)


@final
class TandemBackend(BackendDetails):
    """The backend's ahead-of-time half; its name is the id the runtime registers."""

    @classmethod
    def copy_exported_program_for_preprocess(
        cls, edge_program: ExportedProgram, compile_specs: list[CompileSpec]
    ) -> ExportedProgram:
        """The program itself: building reads it only."""
        return edge_program

    @staticmethod
    def preprocess(edge_program: ExportedProgram, compile_specs: list[CompileSpec]) -> PreprocessResult:
        """The Program as payload, packed constants as named data, and which nodes each of its ops came from."""
        subgraph = Builder(edge_program).build()
        lowered = lower(subgraph.blob, subgraph.constants)
        logger.debug("%s", lowered.dump)
        store = NamedDataStore()
        for key, data in lowered.entries.items():
            store.add_named_data(key, data, alignment=ALIGNMENT)
        return PreprocessResult(
            processed_bytes=lowered.program,
            debug_handle_map=_debug_handles(lowered.program),
            data_store_output=store.get_named_data_store_output(),
        )


def _debug_handles(blob: bytes) -> dict[str, tuple[int, ...]]:
    """For each op, under the name its profiling events carry, the debug handles of the nodes fused into it."""
    mapping = DelegateMappingBuilder()
    for op in read_program(blob).ops:
        handles = [int(handle) for handle in op.debugHandles if handle] if op.debugHandles is not None else []
        if handles:
            mapping.insert_delegate_mapping_entry(handles=handles, identifier=op.name.decode())
    return mapping.get_delegate_mapping()
