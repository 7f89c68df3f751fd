"""A layer as an ONNX file."""

import os
import tempfile

import paddle

# What paddle2onnx 2.1 writes and ONNX Runtime 1.17 and later reads.
OPSET = 17


def write_onnx(layer, path, entry, outputs, metadata):
    """Save a layer as an ONNX model; the first dimension of what goes in and comes out is free.

    Args:
        layer: in eval mode.
        path: the file to write.
        entry: `paddle.static.InputSpec` of what goes in, with a name.
        outputs: names for what comes out, in its order.
        metadata: dict from text to text, kept in the file.
    """
    import onnx
    import paddle2onnx

    with tempfile.TemporaryDirectory(dir=os.path.dirname(path)) as folder:
        program = os.path.join(folder, "program")
        paddle.jit.save(layer, program, input_spec=[entry])
        paddle2onnx.export(
            f"{program}.json",
            f"{program}.pdiparams",
            path,
            opset_version=OPSET,
            optimize_tool="None",
        )
    model = onnx.load(path)
    graph = model.graph
    for value, new in zip(graph.output, outputs, strict=True):
        for node in graph.node:
            node.output[:] = [new if name == value.name else name for name in node.output]
            node.input[:] = [new if name == value.name else name for name in node.input]
        value.name = new
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    _remove_unread(graph)
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _remove_unread(graph):
    """Remove constants that nothing reads, of which ONNX Runtime would warn one by one."""
    read = {name for node in graph.node for name in node.input}
    nodes = [node for node in graph.node if node.op_type != "Constant" or node.output[0] in read]
    constants = [each for each in graph.initializer if each.name in read]
    for field, kept in ((graph.node, nodes), (graph.initializer, constants)):
        del field[:]
        field.extend(kept)
