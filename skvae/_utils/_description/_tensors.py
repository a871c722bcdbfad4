"""Tensors of torch: weights, buffers, and what optimizers keep."""

import sys

# those of which numpy has the same bits by another name
_AS_INTEGERS = {"bfloat16": "int16", "complex64": "int64"}
_DEVICES = ("cpu", "cuda", "mps", "xpu")


def describe(value, describer, path):
    """Return the node of a value of torch, or None of another."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    if isinstance(value, torch.Tensor):
        return _describe_tensor(torch, value, describer, path)
    if isinstance(value, torch.dtype):
        return {"torch_dtype": str(value).split(".")[1]}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    if isinstance(value, torch.Size):
        return {"size": list(value)}
    return None


def _describe_tensor(torch, value, describer, path):
    kinds = {torch.Tensor: "tensor", torch.nn.Parameter: "parameter"}
    kinds[torch.nn.Buffer] = "tensor"
    is_plain = value.layout is torch.strided and not value.is_quantized
    if type(value) not in kinds or not is_plain or value.is_meta:
        return None
    if type(value) is torch.Tensor and value.grad_fn is not None:
        return None
    node = {"tensor": None}
    if type(value) is torch.nn.Parameter:
        node["parameter"] = True
    if value.requires_grad:
        node["requires_grad"] = True
    if value.device.type != "cpu":
        node["on"] = str(value.device)
    values = value.detach()
    name = str(value.dtype).split(".")[1]
    if name in _AS_INTEGERS:
        node["bits"] = name
        values = values.contiguous().view(getattr(torch, _AS_INTEGERS[name]))
    begin, shape, stride = values.storage_offset(), values.shape, values.stride()
    if value.device.type == "cpu" and name not in _AS_INTEGERS:
        shared = describer.find_storage(value, begin, shape, stride)
        if shared is not None:
            place, start = shared
            return node | {"tensor": place, "layout": [[*shape], [*stride], start]}
    if not values.is_contiguous() and values.numel():
        # products of matrices that lie otherwise are rounded otherwise
        length = 1 + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
        node["layout"] = [[*shape], [*stride], 0]
        values = values.as_strided((length,), (1,), begin)
    array = values.cpu().contiguous().numpy()
    node["tensor"] = describer.add_array(array, path, array.shape)
    if value.device.type == "cpu":
        describer.keep_storage(value, begin, array.size, node["tensor"])
    return node


def _build_tensor(node, rebuild):
    import torch

    array = rebuild.take_array(node["tensor"])
    # memory of torch's own: aligned, and not of a file
    tensor = rebuild.share(node["tensor"], lambda: torch.tensor(array))
    if "layout" in node:
        shape, stride, begin = node["layout"]
        tensor = tensor.view(-1).as_strided(shape, stride, begin)
    if "bits" in node:
        if node["bits"] not in _AS_INTEGERS:
            raise ValueError(f"not a dtype: {node['bits']}")
        tensor = tensor.view(getattr(torch, node["bits"]))
    if "on" in node:
        tensor = tensor.to(find_device(node["on"]))
    if node.get("parameter"):
        return torch.nn.Parameter(tensor, node.get("requires_grad", False))
    return tensor.requires_grad_() if node.get("requires_grad") else tensor


def find_device(name):
    """Return a device, or the CPU where there is none of this name."""
    import torch

    from .._device import is_available

    device = torch.device(name)
    if device.type not in _DEVICES:
        raise ValueError(f"not a device: {name}")
    return device if is_available(name) else torch.device("cpu")


def _build_dtype(node, rebuild):
    import torch

    # torch imports modules that it is asked for
    found = vars(torch)[node["torch_dtype"]]
    if not isinstance(found, torch.dtype):
        raise TypeError(f"not a dtype: {node['torch_dtype']}")
    return found


def _build_size(node, rebuild):
    import torch

    return torch.Size(node["size"])


BUILDERS = {
    "tensor": _build_tensor,
    "torch_dtype": _build_dtype,
    "device": lambda node, rebuild: find_device(node["device"]),
    "size": _build_size,
}
