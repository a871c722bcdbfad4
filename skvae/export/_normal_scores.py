"""Normal scores of columns as functions of tensors, see `ScoreMap`."""

import torch


class ScoreTensors:
    """What `NormalScores` computes of rows ``(n, n_columns)`` in double precision."""

    def __init__(self, normal_scores):
        self.maps = normal_scores.maps

    def _change(self, rows, function):
        if not self.maps:
            return rows
        cells = list(rows.unbind(dim=-1))
        for column, score_map in self.maps.items():
            parts = score_map.knots, score_map.scores, score_map.slopes
            parts = map(torch.as_tensor, parts)
            cells[column] = function(cells[column], *parts)
        return torch.stack(cells, dim=-1)

    def apply(self, rows):
        """Return rows with normal scores."""

        def compute(x, knots, scores, slopes):
            piece, knot = _find_piece(x, knots)
            rise = (x - knots.index_select(0, knot)) * slopes.index_select(0, piece)
            return scores.index_select(0, knot) + rise

        return self._change(rows, compute)

    def invert(self, rows):
        """Return rows whose normal scores are given."""

        def compute(u, knots, scores, slopes):
            piece, knot = _find_piece(u, scores)
            run = (u - scores.index_select(0, knot)) / slopes.index_select(0, piece)
            return knots.index_select(0, knot) + run

        return self._change(rows, compute)

    def sum_log_slopes(self, rows):
        """Return the log-Jacobian of rows, ``(n,)``, without that of missing cells."""
        total = torch.zeros_like(rows[:, 0])
        for column, score_map in self.maps.items():
            x = rows[:, column]
            piece, _ = _find_piece(x, torch.as_tensor(score_map.knots))
            found = torch.as_tensor(score_map.slopes).log().index_select(0, piece)
            total = total + torch.where(x.isnan(), 0.0, found)
        return total


def _find_piece(x, bounds):
    """Return the piece that values are in, and the number of the knot before them."""
    piece = (bounds <= x.unsqueeze(-1)).sum(dim=-1)
    return piece, (piece - 1).clamp(min=0)
