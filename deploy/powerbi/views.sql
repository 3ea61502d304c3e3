-- Made by `manymodels powerbi`; `manymodels load` makes the same views.
CREATE VIEW [dbo].[retail_sales_dim_partition] AS
SELECT
    p.[partition_id] AS [partition_id],
    p.[store] AS [store],
    p.[item] AS [item],
    p.[rows] AS [rows],
    p.[start] AS [first_time],
    p.[end] AS [last_time],
    CASE WHEN q.[partition_id] IS NOT NULL THEN 'quarantined' WHEN c.[partition_id] IS NULL THEN 'no champion' ELSE 'in production' END AS [state],
    c.[family] AS [family],
    c.[promoted_at] AS [promoted_at],
    q.[reason] AS [reason],
    q.[advice] AS [what_to_do]
FROM [dbo].[retail_sales_partitions] AS p
LEFT JOIN [dbo].[retail_sales_champions] AS c ON c.[partition_id] = p.[partition_id]
LEFT JOIN [dbo].[retail_sales_quarantine] AS q ON q.[partition_id] = p.[partition_id];
GO

CREATE VIEW [dbo].[retail_sales_dim_model] AS
SELECT
    p.[model_id] AS [model_id],
    MAX(p.[partition_id]) AS [partition_id],
    MAX(p.[family]) AS [family],
    MIN(p.[scored_at]) AS [first_scored],
    MAX(p.[scored_at]) AS [last_scored],
    CAST(CASE WHEN MAX(c.[model_id]) IS NOT NULL THEN 1 ELSE 0 END AS BIT) AS [is_champion]
FROM [dbo].[retail_sales_predictions] AS p
LEFT JOIN [dbo].[retail_sales_champions] AS c ON c.[model_id] = p.[model_id]
WHERE p.[model_id] IS NOT NULL
GROUP BY p.[model_id];
GO

CREATE VIEW [dbo].[retail_sales_fact_predictions] AS
SELECT
    p.[partition_id] AS [partition_id],
    p.[model_id] AS [model_id],
    p.[cutoff] AS [cutoff],
    CAST(p.[date] AS DATE) AS [date],
    p.[date] AS [time],
    DATEDIFF(DAY, p.[cutoff], p.[date]) AS [days_ahead],
    p.[prediction] AS [prediction],
    p.[fallback] AS [fallback],
    CAST(CASE WHEN p.[cutoff] = n.[newest] THEN 1 ELSE 0 END AS BIT) AS [is_newest],
    p.[lower_80] AS [lower_80],
    p.[upper_80] AS [upper_80],
    p.[lower_95] AS [lower_95],
    p.[upper_95] AS [upper_95],
    a.[actual] AS [actual],
    p.[prediction] - a.[actual] AS [error],
    ABS(p.[prediction] - a.[actual]) AS [abs_error],
    CASE WHEN a.[actual] IS NULL THEN NULL WHEN a.[actual] >= p.[lower_80] AND a.[actual] <= p.[upper_80] THEN 1 ELSE 0 END AS [inside_80],
    CASE WHEN a.[actual] IS NULL THEN NULL WHEN a.[actual] >= p.[lower_95] AND a.[actual] <= p.[upper_95] THEN 1 ELSE 0 END AS [inside_95]
FROM [dbo].[retail_sales_predictions] AS p
INNER JOIN (SELECT [partition_id], MAX([cutoff]) AS [newest] FROM [dbo].[retail_sales_predictions] GROUP BY [partition_id]) AS n ON n.[partition_id] = p.[partition_id]
LEFT JOIN [dbo].[retail_sales_actuals] AS a ON a.[partition_id] = p.[partition_id] AND a.[date] = p.[date];
GO

CREATE VIEW [dbo].[retail_sales_fact_metrics] AS
SELECT
    m.[partition_id] AS [partition_id],
    m.[run_id] AS [run_id],
    m.[family] AS [family],
    m.[metric] AS [metric],
    m.[value] AS [value],
    m.[fitted_at] AS [fitted_at]
FROM [dbo].[retail_sales_metrics] AS m;
GO

CREATE VIEW [dbo].[retail_sales_fact_runs] AS
SELECT
    r.[run_id] AS [run_id],
    r.[stage] AS [stage],
    r.[status] AS [status],
    r.[started_at] AS [started_at],
    r.[ended_at] AS [ended_at],
    r.[seconds] AS [seconds],
    r.[calls] AS [calls],
    r.[note] AS [note]
FROM [dbo].[retail_sales_runs] AS r
WHERE r.[status] <> 'running';
GO

CREATE VIEW [dbo].[retail_sales_dim_date] AS
SELECT
    d.[day] AS [date],
    DATEPART(YEAR, d.[day]) AS [year],
    DATEPART(QUARTER, d.[day]) AS [quarter],
    DATEPART(MONTH, d.[day]) AS [month],
    DATEPART(DAY, d.[day]) AS [day_of_month],
    (DATEDIFF(DAY, '1900-01-01', d.[day]) % 7) + 1 AS [weekday]
FROM (SELECT CAST([date] AS DATE) AS [day] FROM [dbo].[retail_sales_predictions] UNION SELECT CAST([date] AS DATE) AS [day] FROM [dbo].[retail_sales_actuals]) AS d
WHERE d.[day] IS NOT NULL;
GO

CREATE VIEW [dbo].[retail_sales_fact_actuals] AS
SELECT
    a.[partition_id] AS [partition_id],
    CAST(a.[date] AS DATE) AS [date],
    a.[date] AS [time],
    a.[actual] AS [actual]
FROM [dbo].[retail_sales_actuals] AS a;
GO

CREATE VIEW [dbo].[retail_sales_fact_alerts] AS
SELECT
    t.[partition_id] AS [partition_id],
    t.[check] AS [check],
    t.[subject] AS [subject],
    t.[value] AS [value],
    t.[reference] AS [reference],
    t.[shift] AS [shift],
    t.[advice] AS [advice],
    t.[at] AS [at]
FROM [dbo].[retail_sales_alerts] AS t;
GO
