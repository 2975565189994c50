"""Watching releases: is what comes in, what goes out and what people say of it still as it was where the release was proved?

Not to be taken for service.monitoring, which watches patients at home. Every result leaves an observation (numbers of its input
and output, no identifier); a day of them becomes counts; weeks of counts are judged against a reference.

Drift libraries were looked at and none is used. alibi-detect: Business Source Licence since 0.12, not open. evidently, nannyml:
Apache-2.0, but pandas, plotly and, for evidently, a web framework come along (hundreds of MB), and both want data frames of single
rows where we keep counts and forget the rows. frouros: BSD, light, still detectors over arrays of rows, and its last releases
are far apart. What is needed of them is three dozen lines on scipy, in models.statistics.drift.
"""
