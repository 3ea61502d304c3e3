// Failed pipelines of Synapse, Data Factory and Azure ML reach a person: one action group, one rule a service.
param prefix string
param mail string
param factoryId string
param synapseId string
param learningIds array
param tags object

resource operators 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: '${prefix}-operators'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: take(prefix, 12)
    enabled: true
    emailReceivers: [
      {
        name: 'operators'
        emailAddress: mail
        useCommonAlertSchema: true
      }
    ]
  }
}

resource factory 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${prefix}-factory-failed'
  location: 'global'
  tags: tags
  properties: {
    description: 'A pipeline of Data Factory failed: Monitor > Pipeline runs, Rerun from failed activity.'
    severity: 1
    enabled: true
    scopes: [factoryId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'failed'
          criterionType: 'StaticThresholdCriterion'
          metricName: 'PipelineFailedRuns'
          operator: 'GreaterThan'
          threshold: 0
          timeAggregation: 'Total'
        }
      ]
    }
    actions: [
      {
        actionGroupId: operators.id
      }
    ]
  }
}

resource synapse 'Microsoft.Insights/metricAlerts@2018-03-01' = if (!empty(synapseId)) {
  name: '${prefix}-synapse-failed'
  location: 'global'
  tags: tags
  properties: {
    description: 'A pipeline of Synapse failed (nightly job, or upkeep): Monitor > Pipeline runs, Rerun from failed activity.'
    severity: 1
    enabled: true
    scopes: [synapseId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'failed'
          criterionType: 'StaticThresholdCriterion'
          metricName: 'IntegrationPipelineRunsEnded'
          operator: 'GreaterThan'
          threshold: 0
          timeAggregation: 'Total'
          dimensions: [
            {
              name: 'Result'
              operator: 'Include'
              values: ['Failed']
            }
          ]
        }
      ]
    }
    actions: [
      {
        actionGroupId: operators.id
      }
    ]
  }
}

resource learning 'Microsoft.Insights/metricAlerts@2018-03-01' = [for (id, number) in learningIds: {
  name: '${prefix}-learning-failed-${number}'
  location: 'global'
  tags: tags
  properties: {
    description: 'A job of Azure ML failed: Jobs in the studio, Resubmit.'
    severity: 1
    enabled: true
    scopes: [id]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'failed'
          criterionType: 'StaticThresholdCriterion'
          metricName: 'Failed Runs'
          operator: 'GreaterThan'
          threshold: 0
          timeAggregation: 'Total'
        }
      ]
    }
    actions: [
      {
        actionGroupId: operators.id
      }
    ]
  }
}]

output operatorsId string = operators.id
