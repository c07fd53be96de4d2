"""LightGCN's published training loop, written anew: github.com/gusye1234/LightGCN-PyTorch.

For each batch of BPR the whole graph is propagated with `torch.sparse.mm` of a COO matrix, layers
are stacked and averaged, and Adam steps over all vectors. Negatives are drawn before each epoch,
as its sampler does, here with NumPy and not counted: its own is compiled.

Shapes: U users, I items, N = U + I nodes, K dimensions, B rows of a batch.
"""

import time
from typing import Any

from modelling import rows


def lightgcn(directory: str) -> dict[str, Any]:
    """LightGCN on LastFM."""
    import numpy as np
    import torch

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    data = rows.pairs(directory, "lastfm")
    num_users, num_items = data.num_users, data.num_items
    row = np.concatenate([data.user, num_users + data.item])
    column = np.concatenate([num_users + data.item, data.user])
    degree_N = np.bincount(row, minlength=num_users + num_items)
    value = (np.maximum(degree_N, 1) ** -0.5)[row] * (np.maximum(degree_N, 1) ** -0.5)[column]
    graph = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([row, column])),
        torch.from_numpy(value.astype(np.float32)),
        (num_users + num_items,) * 2,
    ).coalesce()
    user = torch.nn.Embedding(num_users, rows.DIM)
    item = torch.nn.Embedding(num_items, rows.DIM)
    for table in (user, item):
        torch.nn.init.normal_(table.weight, std=0.1)
    optimizer = torch.optim.Adam([user.weight, item.weight], lr=1e-3)
    taken = set(zip(data.user.tolist(), data.item.tolist(), strict=True))
    seconds, loss = [], None
    for _ in range(rows.EPOCHS):
        negative = rng.integers(0, num_items, len(data.user))
        for place, pair in enumerate(zip(data.user.tolist(), negative.tolist(), strict=True)):
            while pair in taken:
                pair = (pair[0], int(rng.integers(0, num_items)))
            negative[place] = pair[1]
        start_s = time.perf_counter()
        order = rng.permutation(len(data.user))
        for start in range(0, len(order), rows.LIGHTGCN_BATCH_ROWS):
            batch = order[start : start + rows.LIGHTGCN_BATCH_ROWS]
            user_B = torch.from_numpy(data.user[batch])
            item_B = torch.from_numpy(data.item[batch])
            negative_B = torch.from_numpy(negative[batch])
            hop_NK = torch.cat([user.weight, item.weight])
            hops = [hop_NK]
            for _layer in range(rows.LAYERS):
                hop_NK = torch.sparse.mm(graph, hop_NK)
                hops.append(hop_NK)
            mean_NK = torch.stack(hops, dim=1).mean(dim=1)
            users_UK, items_IK = torch.split(mean_NK, [num_users, num_items])
            user_BK, item_BK, negative_BK = users_UK[user_B], items_IK[item_B], items_IK[negative_B]
            first = [user(user_B), item(item_B), item(negative_B)]
            length = 0.5 * sum(part.norm(2).pow(2) for part in first) / len(batch)
            positive_B = (user_BK * item_BK).sum(dim=1)
            other_B = (user_BK * negative_BK).sum(dim=1)
            loss = torch.nn.functional.softplus(other_B - positive_B).mean() + 1e-4 * length
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds.append(time.perf_counter() - start_s)
    return {"epoch_s": seconds, "rows": len(data.user), "loss": float(loss.detach())}
